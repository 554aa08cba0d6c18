import ArgumentParser
import MInference

/// Budgets of a pattern that all heads share.
struct BudgetArguments: ParsableArguments {
  @Option(
    parsing: .unconditional, help: ArgumentHelp("Keys at the beginning.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var sink: Size?

  @Option(
    parsing: .unconditional, help: ArgumentHelp("Nearest keys.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var local: Size?

  @Option(
    parsing: .unconditional, help: ArgumentHelp("Key columns.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var vertical: Size?

  @Option(
    parsing: .unconditional, help: ArgumentHelp("Offsets from the diagonal.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var slash: Size?

  @Option(
    name: .customLong("top-k-blocks"), parsing: .unconditional,
    help: ArgumentHelp("Key blocks for each block of queries.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var topKBlocks: Size?

  /// The library's budgets.
  var budgets: AttentionBudgets {
    AttentionBudgets(
      sink: sink?.value, local: local?.value, vertical: vertical?.value, slash: slash?.value,
      topKBlocks: topKBlocks?.value)
  }

  /// What was given, as it was given: "sink 128, local 4096"; empty if nothing was.
  var description: String {
    [
      ("sink", sink), ("local", local), ("vertical", vertical), ("slash", slash),
      ("top-k-blocks", topKBlocks),
    ].compactMap { name, size in size.map { "\(name) \($0.value)" } }.joined(separator: ", ")
  }
}
