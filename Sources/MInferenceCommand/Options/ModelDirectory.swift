#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Where the model that came with the package lies.
enum ModelDirectory {
  /// The directory that `MINFERENCE_MODEL` names, else the only checkpoint in `Models` of the working
  /// directory, of one above it, or of one above the executable.
  static func builtIn() throws -> String {
    if let given = getenv("MINFERENCE_MODEL"), given.pointee != 0 { return String(cString: given) }
    let places = ancestors(of: workingDirectory()) + ancestors(of: executable())
    for place in places {
      let models = place + "/Models"
      let found = entries(of: models).filter { access("\(models)/\($0)/config.json", R_OK) == 0 }
      if found.count == 1 { return "\(models)/\(found[0])" }
      if found.count > 1 {
        throw CommandFailure(
          .usage,
          "\(models): holds \(found.count) models (\(found.joined(separator: ", "))); "
            + "choose one with --model")
      }
    }
    throw CommandFailure(
      .inputMissing,
      "no Models directory with a checkpoint is near the working directory or the executable; "
        + "give --model DIR")
  }

  private static func workingDirectory() -> String {
    guard let path = getcwd(nil, 0) else { return "." }
    defer { free(path) }
    return String(cString: path)
  }

  private static func executable() -> String {
    let name = CommandLine.arguments.first ?? ""
    guard let path = realpath("/proc/self/exe", nil) ?? realpath(name, nil) else { return name }
    defer { free(path) }
    return String(cString: path)
  }

  /// The directories above a path, the nearest first; the path itself is the first of them.
  private static func ancestors(of path: String) -> [String] {
    var result: [String] = []
    var rest = path[...]
    while !rest.isEmpty {
      result.append(String(rest))
      rest = rest[..<(rest.lastIndex(of: "/") ?? rest.startIndex)]
    }
    return result
  }

  private static func entries(of directory: String) -> [String] {
    guard let stream = opendir(directory) else { return [] }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if !name.hasPrefix(".") { names.append(name) }
    }
    return names.sorted()
  }
}
