import Files

/// The arguments of the process. Swift's own repairs what is not UTF-8, and the file of that name could
/// not be found any more.
enum ProcessArguments {
  /// The name of the command first.
  static let all: [String] = {
    var arguments: [String] = []
    let vector = CommandLine.unsafeArgv
    while let argument = vector[arguments.count] {
      arguments.append(SystemPath.text(of: argument))
    }
    return arguments
  }()
}
