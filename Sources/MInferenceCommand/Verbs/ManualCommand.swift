import ArgumentParser

/// `minference manual`: the manual page, which `make install` writes to where `man` finds it.
struct ManualCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "manual", abstract: "Prints the manual page, for man.",
    discussion: "Example: minference manual > minference.1", shouldDisplay: false)

  func run() throws {
    try StandardOutput.write(ManualPage(dump: Minference._dumpHelp()).text)
  }
}
