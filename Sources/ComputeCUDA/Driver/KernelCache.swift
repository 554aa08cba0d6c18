import Files

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

  /// The code stored under a key; nil if it is absent or damaged.
  package func load(_ key: String) -> [UInt8]? {
    guard let directory, let bytes = try? WholeFile.bytes(of: directory + "/" + key) else {
      return nil
    }
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
    let entry = Self.magic + Self.checksum(code) + code
    let result = entry.withUnsafeBytes { bytes in
      Result { () throws(FileError) in
        // What a machine that stopped left half is compiled again.
        try FileReplacement.write(bytes, to: directory + "/" + key, isDurable: false)
      }
    }
    guard case .failure(let error) = result else { return nil }
    return "kernels are compiled at every start: \(directory) cannot be written (\(error.reason))"
  }

  private static func checksum(_ bytes: [UInt8]) -> [UInt8] {
    var checksum = Fingerprint()
    bytes.withUnsafeBytes { checksum.add($0) }
    return (0..<8).map { UInt8(truncatingIfNeeded: checksum.value >> (8 * UInt64($0))) }
  }
}
