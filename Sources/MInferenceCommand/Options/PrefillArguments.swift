import ArgumentParser

/// How prompts are prefilled, whatever the kind of attention.
struct PrefillArguments: ParsableArguments {
  @OptionGroup var budgets: BudgetArguments

  @Option(
    help: ArgumentHelp(
      "Pattern file; patterns.json of the model's directory if not given.", valueName: "file"),
    completion: .file())
  var patterns: String?

  @Flag(help: "The paper's selection to the letter: no crossover, no dense fallback.")
  var exact = false

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Tokens of the prompt read at once; all of them if not given.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var chunk: Size?
}
