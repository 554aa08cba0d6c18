#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A directory that goes away with its owner.
package final class TemporaryDirectory {
  package let path: String
  private var count = 0

  package init() throws {
    let base = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
    var template = Array("\(base)/minference-tests-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw TemporaryFileFailure() }
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  deinit {
    // Only what this type made lies here, one level deep.
    for name in Self.entries(path) {
      for inner in Self.entries(path + "/" + name) { unlink("\(path)/\(name)/\(inner)") }
      rmdir("\(path)/\(name)")
      unlink("\(path)/\(name)")
    }
    rmdir(path)
  }

  package func path(_ name: String) -> String { path + "/" + name }

  /// The names of what lies in it.
  package var names: [String] { Self.entries(path) }

  /// The permission bits of a file in it.
  package func permissions(of name: String) throws -> UInt32 {
    var status = stat()
    guard stat(path(name), &status) == 0 else { throw TemporaryFileFailure() }
    return UInt32(status.st_mode & 0o777)
  }

  package func nextNumber() -> Int {
    count += 1
    return count
  }

  package func write(_ bytes: some Sequence<UInt8>, to name: String) throws {
    let bytes = Array(bytes)
    guard let file = fopen(path(name), "wb") else { throw TemporaryFileFailure() }
    defer { fclose(file) }
    guard fwrite(bytes, 1, bytes.count, file) == bytes.count else {
      throw TemporaryFileFailure()
    }
  }

  package func write(_ text: String, to name: String) throws {
    try write(text.utf8, to: name)
  }

  package func makeDirectory(_ name: String) throws {
    guard mkdir(path(name), 0o755) == 0 else { throw TemporaryFileFailure() }
  }

  package static func read(_ path: String) throws -> String {
    guard let file = fopen(path, "rb") else { throw TemporaryFileFailure() }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let count = fread(&buffer, 1, buffer.count, file)
      guard count > 0 else { return String(decoding: bytes, as: UTF8.self) }
      bytes += buffer[..<count]
    }
  }

  private static func entries(_ path: String) -> [String] {
    guard let stream = opendir(path) else { return [] }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name != ".", name != ".." { names.append(name) }
    }
    return names
  }
}

/// A temporary file or directory could not be made, written or read.
package struct TemporaryFileFailure: Error {}
