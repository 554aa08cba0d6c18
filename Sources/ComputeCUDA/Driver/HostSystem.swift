#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#else
  internal import Darwin
#endif

/// What this backend asks of the C library: the environment, files and folders.
enum HostSystem {
  /// The value of an environment variable; nil where it is not set, or empty.
  static func environment(_ name: String) -> String? {
    guard let value = getenv(name), value.pointee != 0 else { return nil }
    return String(cString: value)
  }

  /// The names in a folder; none where it cannot be read.
  static func entries(of directory: String) -> [String] {
    guard let stream = opendir(directory) else { return [] }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
      names.append(
        withUnsafePointer(to: &entry.pointee.d_name) {
          $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        })
    }
    return names
  }

  /// Loads a library that another one looks for, for good.
  static func preload(_ path: String) { _ = dlopen(path, RTLD_NOW) }

  /// All bytes of a file; nil where it cannot be opened.
  static func read(_ path: String) -> [UInt8]? {
    guard let file = fopen(path, "rb") else { return nil }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var part = [UInt8](repeating: 0, count: 1 << 16)
    while case let count = fread(&part, 1, part.count, file), count > 0 {
      bytes += part[..<count]
    }
    return bytes
  }

  /// How a file was written.
  enum Writing {
    case done
    case notOpened
    case notWhole
  }

  /// Writes a file under a name of its own and renames it: others see all of it or nothing.
  static func write(_ bytes: [UInt8], to path: String) -> Writing {
    let temporary = path + ".\(getpid()).\(UInt32.random(in: 0 ... .max))"
    guard let file = fopen(temporary, "wb") else { return .notOpened }
    let written = fwrite(bytes, 1, bytes.count, file)
    guard fclose(file) == 0, written == bytes.count, rename(temporary, path) == 0 else {
      unlink(temporary)
      return .notWhole
    }
    return .done
  }

  /// Makes a folder and those above it that are missing.
  static func makeDirectory(_ path: String) {
    guard access(path, F_OK) != 0 else { return }
    if let slash = path.lastIndex(of: "/"), slash != path.startIndex {
      makeDirectory(String(path[..<slash]))
    }
    mkdir(path, 0o755)
  }
}
