#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Where the tests find their files.
enum Files {
  /// `Goldens/`, beside this file.
  static let goldens = URL(filePath: #filePath).deletingLastPathComponent()
    .appending(path: "Goldens")

  /// The shared data, which is not part of the repository; nil when it is not there.
  static let shared: URL? = {
    let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    let named = ProcessInfo.processInfo.environment["MINFERENCE_SHARED"]
    let url = named.map { URL(filePath: $0) } ?? root.appending(path: "../shared")
    return FileManager.default.fileExists(atPath: url.appending(path: "vectors").path) ? url : nil
  }()

  /// The path of something in the shared data.
  static func shared(_ path: String) throws -> String {
    try (shared ?? { throw MissingSharedData() }()).appending(path: path).path
  }

  struct MissingSharedData: Error {}

  static func bytes(_ path: String) throws -> [UInt8] {
    [UInt8](try Data(contentsOf: URL(filePath: path)))
  }

  static func golden<Value: Decodable>(_ name: String, as type: Value.Type) throws -> Value {
    try JSONDecoder().decode(type, from: Data(contentsOf: goldens.appending(path: name)))
  }

  /// The one template of a directory's `tokenizer_config.json`.
  static func chatTemplate(inConfigurationOf directory: String) throws -> String {
    struct Configuration: Decodable {
      let chat_template: String
    }
    let url = URL(filePath: directory).appending(path: "tokenizer_config.json")
    return try JSONDecoder().decode(Configuration.self, from: Data(contentsOf: url)).chat_template
  }
}

/// The linear congruential generator of the golden scripts.
struct Generator {
  var state: UInt64

  mutating func pick(_ limit: Int) -> Int {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return Int(state >> 33) % limit
  }
}

/// FNV-1a as the golden scripts do it, in hexadecimal.
func hash(_ items: some Sequence<UInt64>) -> String {
  let value = items.reduce(0xCBF2_9CE4_8422_2325 as UInt64) { ($0 ^ $1) &* 0x100_0000_01B3 }
  let digits = String(value, radix: 16)
  return String(repeating: "0", count: 16 - digits.count) + digits
}
