import ArgumentParser
import MInference

/// How exactly linear layers are computed.
struct LinearArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "What linear layers of a GPU multiply: bf16, or fp8, which is faster, takes half the memory and "
        + "loses digits (Hopper).", valueName: "type"),
    transform: { text in
      guard let precision = LinearPrecision(rawValue: text) else {
        let known = LinearPrecision.allCases.map(\.rawValue).joined(separator: " or ")
        throw ValidationError("\"\(text)\" is not known; give \(known)")
      }
      return precision
    })
  var linear: LinearPrecision = .bf16
}
