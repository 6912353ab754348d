#include <rapidjson/document.h>
#include <rapidjson/prettywriter.h>
#include <rapidjson/stringbuffer.h>

#include <fstream>
#include <iterator>
#include <string>

int main() {
  std::ifstream in("state.json");
  const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  rapidjson::Document state;
  state.Parse(text.c_str());
  if (!state.IsObject()) state.SetObject();
  auto& allocator = state.GetAllocator();
  if (!state.HasMember("runs")) state.AddMember("runs", 0, allocator);
  if (!state.HasMember("names")) state.AddMember("names", rapidjson::Value(rapidjson::kArrayType), allocator);
  state["runs"].SetInt(state["runs"].GetInt() + 1);
  const std::string name = "run " + std::to_string(state["runs"].GetInt());
  state["names"].PushBack(rapidjson::Value(name.c_str(), allocator), allocator);
  rapidjson::StringBuffer out;
  rapidjson::PrettyWriter<rapidjson::StringBuffer> writer(out);
  state.Accept(writer);
  std::ofstream("state.json") << out.GetString();
}
