import ArgumentParser
import MInference

/// Whether a sparse prefill watches what it loses.
struct MonitorArguments: ParsableArguments {
  /// What is done about weak heads.
  enum Action: String, CaseIterable {
    case report
    case dense
  }

  @Option(
    defaultAsFlag: Action.report, parsing: .next,
    help: ArgumentHelp(
      "Estimate recall while the prompt is read, and name weak heads; dense: compute them densely.",
      valueName: "dense"), completion: .list([Action.dense.rawValue]),
    transform: { text in
      guard let action = Action(rawValue: text) else {
        throw ValidationError("\"\(text)\" is not known; give dense, or nothing")
      }
      return action
    })
  var monitor: Action? = nil

  @Option(
    help: ArgumentHelp(
      "Recall under which --monitor finds a head weak (\(RecallMonitor.defaultFloor)).",
      valueName: "r"),
    transform: { try Number.parsed($0, in: 0...1, allowed: "a number from 0 to 1") })
  var monitorFloor: Double?

  func validate() throws {
    guard monitorFloor == nil || monitor != nil else {
      throw ValidationError("--monitor-floor is of no use without --monitor; add it")
    }
  }

  /// The library's option.
  var options: RecallMonitor? {
    monitor.map {
      RecallMonitor(
        floor: monitorFloor ?? RecallMonitor.defaultFloor, computesWeakHeadsDensely: $0 == .dense)
    }
  }
}
