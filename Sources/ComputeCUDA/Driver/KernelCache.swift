#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#else
  internal import Darwin
#endif

/// Compiled kernels on disk, in `$XDG_CACHE_HOME/minference` or `~/.cache/minference`.
///
/// An entry is written to a name of its own and renamed, so that processes that start together see
/// whole entries or none. What cannot be read or does not match its checksum is compiled again; a
/// directory that cannot be written is used no further, and the user is told.
package struct KernelCache: Sendable {
  let directory: String?

  package init() {
    if let cache = getenv("XDG_CACHE_HOME"), cache.pointee != 0 {
      directory = String(cString: cache) + "/minference"
    } else if let home = getenv("HOME"), home.pointee != 0 {
      directory = String(cString: home) + "/.cache/minference"
    } else {
      directory = nil
    }
  }

  package init(directory: String) { self.directory = directory }

  private static let magic: [UInt8] = Array("MIKERNEL1".utf8)

  /// The code stored under a key; nil if there is none that is whole.
  package func load(_ key: String) -> [UInt8]? {
    guard let directory, let file = fopen(directory + "/" + key, "rb") else { return nil }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var part = [UInt8](repeating: 0, count: 1 << 16)
    while case let count = fread(&part, 1, part.count, file), count > 0 {
      bytes += part[..<count]
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
    Self.makeDirectory(directory)
    let path = directory + "/" + key
    let temporary = path + ".\(getpid()).\(UInt32.random(in: 0 ... .max))"
    guard let file = fopen(temporary, "wb") else {
      return "kernels are compiled at every start: \(directory) cannot be written"
    }
    let bytes = Self.magic + Self.checksum(code) + code
    let written = fwrite(bytes, 1, bytes.count, file)
    guard fclose(file) == 0, written == bytes.count, rename(temporary, path) == 0 else {
      unlink(temporary)
      return "kernels are compiled at every start: \(directory) cannot be written (disk full?)"
    }
    return nil
  }

  private static func makeDirectory(_ path: String) {
    guard access(path, F_OK) != 0 else { return }
    if let slash = path.lastIndex(of: "/"), slash != path.startIndex {
      makeDirectory(String(path[..<slash]))
    }
    mkdir(path, 0o755)
  }

  private static func checksum(_ bytes: [UInt8]) -> [UInt8] {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    return (0..<8).map { UInt8(truncatingIfNeeded: hash >> (8 * UInt64($0))) }
  }
}
