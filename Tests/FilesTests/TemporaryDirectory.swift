#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A directory of its own for one test, removed with what it holds at the end.
final class TemporaryDirectory {
  let path: String

  init() {
    path = "/tmp/minference-files-\(UInt64.random(in: 0 ... .max))"
    mkdir(path, 0o700)
  }

  deinit {
    chmod(path, 0o700)
    for name in names { unlink("\(path)/\(name)") }
    rmdir(path)
  }

  subscript(name: String) -> String { "\(path)/\(name)" }

  /// What lies in it, in order.
  var names: [String] {
    guard let stream = opendir(path) else { return [] }
    defer { closedir(stream) }
    guard let nameOffset = MemoryLayout<dirent>.offset(of: \.d_name) else { return [] }
    var names: [String] = []
    while let entry = readdir(stream) {
      let start = UnsafeRawPointer(entry) + nameOffset
      let name = String(cString: start.assumingMemoryBound(to: CChar.self))
      if name != "." && name != ".." { names.append(name) }
    }
    return names.sorted()
  }

  /// Writes a file by the C library, with these permissions.
  func write(_ text: String, to name: String, mode: mode_t = 0o644) {
    let descriptor = open(self[name], O_WRONLY | O_CREAT | O_TRUNC, mode)
    _ = Array(text.utf8).withUnsafeBytes { Self.write(descriptor, $0) }
    fchmod(descriptor, mode)
    close(descriptor)
  }

  private static func write(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) -> Int {
    #if canImport(Glibc)
      Glibc.write(descriptor, bytes.baseAddress, bytes.count)
    #elseif canImport(Musl)
      Musl.write(descriptor, bytes.baseAddress, bytes.count)
    #else
      Darwin.write(descriptor, bytes.baseAddress, bytes.count)
    #endif
  }

  /// A file's text by the C library; nil where there is none.
  func text(_ name: String) -> String? {
    guard let file = fopen(self[name], "rb") else { return nil }
    defer { fclose(file) }
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    let count = fread(&buffer, 1, buffer.count, file)
    return String(decoding: buffer[..<count], as: UTF8.self)
  }

  /// Permission bits; a link's target's.
  func mode(_ name: String) -> mode_t? {
    var status = stat()
    return stat(self[name], &status) == 0 ? status.st_mode & 0o7777 : nil
  }

  func isLink(_ name: String) -> Bool {
    var status = stat()
    return lstat(self[name], &status) == 0 && status.st_mode & S_IFMT == S_IFLNK
  }

  func isPipe(_ name: String) -> Bool {
    var status = stat()
    return lstat(self[name], &status) == 0 && status.st_mode & S_IFMT == S_IFIFO
  }
}

/// Root may do everything: tests of permissions mean nothing then.
let isRoot = geteuid() == 0
