// The blocks of Tests/StoredNumbersTests/Goldens/blocks.json and what they mean.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

struct Golden {
  std::vector<unsigned char> bytes;
  std::vector<float> values;
};

static std::vector<unsigned char> fromHex(const std::string& text) {
  std::vector<unsigned char> bytes(text.size() / 2);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = (unsigned char)strtol(text.substr(2 * i, 2).c_str(), nullptr, 16);
  return bytes;
}

/// The text behind `key` in a line of blocks.json.
static std::string field(const std::string& line, const char* key) {
  const std::string start = std::string("\"") + key + "\": \"";
  const size_t from = line.find(start) + start.size();
  return line.substr(from, line.find('"', from) - from);
}

static std::map<std::string, std::vector<Golden>> readGoldens(const char* path) {
  std::map<std::string, std::vector<Golden>> goldens;
  FILE* file = fopen(path, "r");
  if (!file) return goldens;
  std::string line;
  for (int c = fgetc(file); c != EOF; c = fgetc(file)) {
    if (c != '\n') {
      line += (char)c;
      continue;
    }
    if (line.find("format") != std::string::npos) {
      Golden golden{fromHex(field(line, "bytes")), {}};
      const std::vector<unsigned char> raw = fromHex(field(line, "values"));
      golden.values.resize(raw.size() / 4);
      memcpy(golden.values.data(), raw.data(), raw.size());
      goldens[field(line, "format")].push_back(golden);
    }
    line.clear();
  }
  fclose(file);
  return goldens;
}
