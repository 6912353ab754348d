// Qt's QSaveFile.
#include <QSaveFile>

#include <functional>

#include "peer.hpp"

int main(int, char** argv) {
  std::string content;
  const QString name = QString::fromUtf8(argv[1]) + "/replaced";
  return serve([&](const std::string& operation, const std::string& argument) -> std::function<void()> {
    if (operation != "replace") return {};
    content.assign(static_cast<std::size_t>(std::atoll(argument.c_str())), 'x');
    return [&] {
      QSaveFile file(name);
      check(file.open(QIODevice::WriteOnly) && file.write(content.data(), static_cast<qint64>(content.size())) ==
                static_cast<qint64>(content.size()) && file.commit(), "QSaveFile");
    };
  });
}
