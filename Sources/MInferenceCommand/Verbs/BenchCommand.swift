import ArgumentParser

/// `minference bench`: performance claims as programs.
struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench", abstract: "Measures this machine.",
    subcommands: [
      BenchAttentionCommand.self, BenchPrefillCommand.self, BenchDecodeCommand.self,
      BenchPipelineCommand.self,
    ])
}
