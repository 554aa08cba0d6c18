import ArgumentParser

/// `minference evaluate`: whether a model still answers, by several kinds of attention side by side.
struct EvaluateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "evaluate",
    abstract: "Puts the same prompts to several kinds of attention, and compares.",
    discussion: """
      Prints Markdown tables with 95 % bootstrap intervals; the first --attention is what the others \
      are compared with. With --results every result is written as a JSON line, and a run that was \
      interrupted goes on where it was. A length that the model's context has no room for is left out \
      and told; the exit code is then 64.

      Example: minference evaluate perplexity --model DIR --text book.txt --lengths 8K
      """,
    subcommands: [
      EvaluateScenariosCommand.self, EvaluateTasksCommand.self, EvaluateAgreementCommand.self,
      EvaluatePerplexityCommand.self, EvaluateNeedleCommand.self, EvaluateRulerCommand.self,
      EvaluateInfiniteBenchCommand.self, EvaluateRecallCommand.self, EvaluateOverlapCommand.self,
    ])
}
