#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The built command, run through a shell, so that tests can write what a person would type.
struct CommandRun {
  let status: Int32
  let output: String
  let errors: String

  /// The executable that was built beside the tests; nil if it is not there.
  static let executable: String? = {
    // The test bundle is an executable of its own on Linux, and lies deeper on Apple systems.
    var directory = CommandLine.arguments[0][...]
    #if os(Linux)
      if let path = realpath("/proc/self/exe", nil) {
        directory = Substring(String(cString: path))
        free(path)
      }
    #endif
    for _ in 0..<5 {
      guard let slash = directory.lastIndex(of: "/") else { break }
      directory = directory[..<slash]
      let candidate = directory + "/minference"
      if access(String(candidate), X_OK) == 0 { return String(candidate) }
    }
    return nil
  }()

  static var isBuilt: Bool { executable != nil }

  /// Runs a script in which `$M` is the command and `$D` is `directory`, without input.
  init(_ script: String, in directory: TemporaryDirectory) throws {
    let number = directory.nextNumber()
    let (out, err) = (directory.path("out\(number)"), directory.path("err\(number)"))
    let redirected = "exec >\(out) 2>\(err) </dev/null\n" + script
    let arguments = Self.cStrings(["/bin/sh", "-c", redirected])
    let environment = Self.cStrings([
      "M=\(Self.executable ?? "")", "D=\(directory.path)", "PATH=/usr/bin:/bin",
    ])
    defer { (arguments + environment).forEach { free($0) } }
    var process = pid_t()
    guard posix_spawn(&process, "/bin/sh", nil, nil, arguments, environment) == 0 else {
      throw SpawnFailure()
    }
    var status: Int32 = 0
    while waitpid(process, &status, 0) == -1, errno == EINTR {}
    self.status = status & 0x7F == 0 ? (status >> 8) & 0xFF : 128 + status & 0x7F
    output = try TemporaryDirectory.read(out)
    errors = try TemporaryDirectory.read(err)
  }

  /// Copies for C, ended by nil.
  private static func cStrings(_ strings: [String]) -> [UnsafeMutablePointer<CChar>?] {
    strings.map { string in strdup(string) } + [nil]
  }

  /// Whether there is one line of complaint, with all of `words` in it.
  func complains(of words: String...) -> Bool {
    errors.hasPrefix("minference: ") && errors.filter { $0 == "\n" }.count == 1
      && errors.hasSuffix("\n") && words.allSatisfy { errors.contains($0) }
  }

  struct SpawnFailure: Error {}
}

/// A directory that goes away with its owner.
final class TemporaryDirectory {
  let path: String
  private var count = 0

  init() throws {
    let base = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
    var template = Array("\(base)/minference-tests-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw CommandRun.SpawnFailure() }
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

  func path(_ name: String) -> String { path + "/" + name }

  func nextNumber() -> Int {
    count += 1
    return count
  }

  func write(_ bytes: some Sequence<UInt8>, to name: String) throws {
    let bytes = Array(bytes)
    guard let file = fopen(path(name), "wb") else { throw CommandRun.SpawnFailure() }
    defer { fclose(file) }
    guard fwrite(bytes, 1, bytes.count, file) == bytes.count else {
      throw CommandRun.SpawnFailure()
    }
  }

  func write(_ text: String, to name: String) throws {
    try write(text.utf8, to: name)
  }

  func makeDirectory(_ name: String) throws {
    guard mkdir(path(name), 0o755) == 0 else { throw CommandRun.SpawnFailure() }
  }

  static func read(_ path: String) throws -> String {
    guard let file = fopen(path, "rb") else { throw CommandRun.SpawnFailure() }
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
