// SHA-256 (FIPS 180-4) as 64 hexadecimal digits.
#ifndef SHA256_HPP
#define SHA256_HPP

#include <string>
#include <string_view>

namespace tool {

std::string sha256(std::string_view bytes);

}  // namespace tool

#endif
