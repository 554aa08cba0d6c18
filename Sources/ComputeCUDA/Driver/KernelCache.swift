/// Compiled kernels on disk, in `$XDG_CACHE_HOME/minference` or `~/.cache/minference`.
///
/// An entry is written to a name of its own and renamed, so that processes that start together see
/// whole entries or none. What cannot be read or does not match its checksum is compiled again; a
/// directory that cannot be written is used no further, and the user is told.
package struct KernelCache: Sendable {
  let directory: String?

  package init() {
    if let cache = HostSystem.environment("XDG_CACHE_HOME") {
      directory = cache + "/minference"
    } else if let home = HostSystem.environment("HOME") {
      directory = home + "/.cache/minference"
    } else {
      directory = nil
    }
  }

  package init(directory: String) { self.directory = directory }

  private static let magic: [UInt8] = Array("MIKERNEL1".utf8)

  /// The code stored under a key; nil if there is none that is whole.
  package func load(_ key: String) -> [UInt8]? {
    guard let directory, let bytes = HostSystem.read(directory + "/" + key) else { return nil }
    let head = Self.magic.count + 8
    guard bytes.count > head, Array(bytes[..<Self.magic.count]) == Self.magic else { return nil }
    let code = Array(bytes[head...])
    guard Array(bytes[Self.magic.count..<head]) == Self.checksum(code) else { return nil }
    return code
  }

  /// Keeps code under a key. Returns what the user should know if that fails.
  package func store(_ code: [UInt8], as key: String) -> String? {
    guard let directory else { return "kernels are compiled at every start: HOME is not set" }
    HostSystem.makeDirectory(directory)
    switch HostSystem.write(Self.magic + Self.checksum(code) + code, to: directory + "/" + key) {
    case .done: return nil
    case .notOpened: return "kernels are compiled at every start: \(directory) cannot be written"
    case .notWhole:
      return "kernels are compiled at every start: \(directory) cannot be written (disk full?)"
    }
  }

  private static func checksum(_ bytes: [UInt8]) -> [UInt8] {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    return (0..<8).map { UInt8(truncatingIfNeeded: hash >> (8 * UInt64($0))) }
  }
}
