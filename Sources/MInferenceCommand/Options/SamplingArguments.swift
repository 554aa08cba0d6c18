import ArgumentParser
import Files
import MInference

/// How the next token is chosen. What is not given comes from the model's generation_config.json.
struct SamplingArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Sampling temperature; 0 always takes the most likely token.", valueName: "t"),
    transform: { try Number.parsed($0, in: 0...1e4, allowed: "a number from 0 up") })
  var temperature: Double?

  @Option(
    help: ArgumentHelp("Keep the smallest set of tokens with this probability.", valueName: "p"),
    transform: {
      try Number.parsed($0, in: .leastNonzeroMagnitude...1, allowed: "a number above 0, up to 1")
    })
  var topP: Double?

  @Option(
    help: ArgumentHelp("Keep so many of the likeliest tokens.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var topK: Size?

  @Option(
    help: ArgumentHelp(
      "Drop tokens below this share of the likeliest one's probability.", valueName: "p"),
    transform: { try Number.parsed($0, in: 0...1, allowed: "a number from 0 to 1") })
  var minP: Double?

  @Option(
    help: ArgumentHelp(
      "Divide the logits of tokens that were there already; 1 changes nothing.", valueName: "r"),
    transform: { try Number.parsed($0, in: 1e-3...1e3, allowed: "a number from 0.001 to 1000") })
  var repetitionPenalty: Double?

  @Option(help: ArgumentHelp("Seed of the random choices.", valueName: "s"))
  var seed: UInt64?

  @Option(
    help: ArgumentHelp(
      "End the answer before this text; may be given more than once.", valueName: "text"))
  var stop: [String] = []

  func validate() throws {
    guard !stop.contains(where: SystemPath.isRaw) else {
      throw ValidationError("--stop: the text is not UTF-8; give it as UTF-8")
    }
    guard !stop.contains("") else {
      throw ValidationError("--stop: the text is empty; give at least one character")
    }
  }
}

extension SamplingArguments {
  /// The checkpoint's own settings with what was given in their place; nil if nothing was.
  func options(of model: LanguageModel) -> SamplingOptions {
    var options = model.defaultSampling
    if let temperature { options.temperature = Float(temperature) }
    if let topP { options.topP = Float(topP) }
    if let topK { options.topK = topK.value }
    if let minP { options.minP = Float(minP) }
    if let repetitionPenalty { options.repetitionPenalty = Float(repetitionPenalty) }
    if let seed { options.seed = seed }
    // A way of sampling asks for sampling, where the checkpoint does not.
    if temperature == nil, options.temperature == 0, topP != nil || topK != nil || minP != nil {
      options.temperature = 1
    }
    return options
  }
}
