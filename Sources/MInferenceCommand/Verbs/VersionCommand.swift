import ArgumentParser
import JSON
import MInference

/// `minference version`: what is installed here, and what it computes with.
struct VersionCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "version",
    abstract: "Prints the version; with --verbose how it was built and what it computes with.",
    discussion: """
      The same block stands under "build" in what other verbs print with --json, so that figures can \
      be repeated.

      Example: minference version --verbose
      """)

  @Flag(help: "Print commit, compilers, processor, BLAS, GPU, driver and NVRTC as well.")
  var verbose = false

  @Flag(help: "Print one JSON object with all of it.")
  var json = false

  func run() throws {
    guard verbose || json else {
      return try StandardOutput.write(BuildDescription.version + "\n")
    }
    var devices: [any Backend] = [try Device.cpu.makeBackend()]
    var notices = devices[0].notices
    do {
      devices.append(try Device.cuda.makeBackend())
    } catch {
      notices.append("no GPU: \(ErrorText.of(error))")
    }
    let description = BuildDescription(computingOn: devices)
    try StandardOutput.write(json ? description.json.serialized() + "\n" : description.text)
    notices.forEach(StandardError.note)
  }
}
