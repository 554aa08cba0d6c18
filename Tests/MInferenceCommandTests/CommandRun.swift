import TemporaryCheckpoints

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
  private static let executable: String? = {
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

  /// Runs a script in which `$M` is the command and `$D` is `directory`, without input.
  ///
  /// Throws ``NotBuilt`` if the command is not there: a test of nothing must not pass.
  init(_ script: String, in directory: TemporaryDirectory) throws {
    guard let executable = Self.executable else { throw NotBuilt() }
    let number = directory.nextNumber()
    let (out, err) = (directory.path("out\(number)"), directory.path("err\(number)"))
    let redirected = "exec >\(out) 2>\(err) </dev/null\n" + script
    let arguments = Self.cStrings(["/bin/sh", "-c", redirected])
    let environment = Self.cStrings([
      "M=\(executable)", "D=\(directory.path)", "PATH=/usr/bin:/bin",
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

  struct NotBuilt: Error, CustomStringConvertible {
    var description: String {
      "minference is not beside the test bundle; build it with swift build --build-tests"
    }
  }
}
