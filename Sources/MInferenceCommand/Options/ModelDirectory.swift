import Files

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
  /// directory, of one above it, or of one above the executable; or in `share/minference/Models` of one
  /// above the executable, where `make install` puts it.
  static func builtIn() throws -> String {
    if let given = getenv("MINFERENCE_MODEL"), given.pointee != 0 {
      return SystemPath.text(of: given)
    }
    let above = ancestors(of: executable())
    let places = (ancestors(of: workingDirectory()) + above).map { $0 + "/Models" }
    for models in places + above.map({ $0 + "/share/minference/Models" }) {
      let found = entries(of: models).filter {
        WholeFile.isReadable("\(models)/\($0)/config.json")
      }
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
    return SystemPath.text(of: path)
  }

  private static func executable() -> String {
    let name = ProcessArguments.all.first ?? ""
    let path = realpath("/proc/self/exe", nil) ?? SystemPath.with(name) { realpath($0, nil) }
    guard let path else { return name }
    defer { free(path) }
    return SystemPath.text(of: path)
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
    let names = (try? WholeFile.names(inDirectory: directory)) ?? []
    return names.filter { !$0.hasPrefix(".") }
  }
}
