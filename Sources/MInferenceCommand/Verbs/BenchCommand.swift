import ArgumentParser

/// `minference bench`: performance claims as programs.
struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench", abstract: "Measures this machine.",
    discussion: """
      attention times the kernels alone, prefill a whole model's time to first token, decode the \
      tokens after it, tokenize texts on their way to ids; pipeline predicts what several devices would take.

      Example: minference bench prefill --model DIR --lengths 8K,32K
      """,
    subcommands: [
      BenchAttentionCommand.self, BenchPrefillCommand.self, BenchDecodeCommand.self,
      BenchPipelineCommand.self, BenchTokenizeCommand.self,
    ])
}
