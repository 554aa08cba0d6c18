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

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Share of the scored attention that chosen blocks hold, 0 to 1.", valueName: "share"))
  var share: Double?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Part of each row's blocks that is chosen at least.", valueName: "share"))
  var floor: Double?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Part of each row's blocks that is chosen at most.", valueName: "share"))
  var cap: Double?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Positions of an antidiagonal, 8 or 16.", valueName: "n"))
  var stride: Int?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Of so many groups of queries the antidiagonals of one are scored: 1, 2 or 4.", valueName: "n"
    ))
  var queryStride: Int?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Positions of a group whose mean is scored, 16 or 128.", valueName: "n"))
  var poolSize: Int?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Key columns beside chosen blocks.", valueName: "n"),
    transform: { try Size.parsed($0, atLeast: 0) })
  var columns: Size?

  @Option(
    parsing: .unconditional, help: ArgumentHelp("Last rows that see every key.", valueName: "n"),
    transform: { try Size.parsed($0, atLeast: 0) })
  var last: Size?

  /// What was given, by the name of its flag.
  private var given: [(name: String, value: Double, text: String)] {
    let counts = [
      ("sink", sink?.value), ("local", local?.value), ("vertical", vertical?.value),
      ("slash", slash?.value), ("top-k-blocks", topKBlocks?.value), ("stride", stride),
      ("query-stride", queryStride), ("pool-size", poolSize), ("columns", columns?.value),
      ("last", last?.value),
    ].compactMap { name, value in value.map { (name, Double($0), "\($0)") } }
    let shares = [("share", share), ("floor", floor), ("cap", cap)]
      .compactMap { name, value in value.map { (name, $0, "\($0)") } }
    return counts + shares
  }

  /// The library's budgets.
  var budgets: AttentionBudgets {
    AttentionBudgets(Dictionary(uniqueKeysWithValues: given.map { ($0.name, $0.value) }))
  }

  /// What was given, as it was given: "sink 128, local 4096"; empty if nothing was.
  var description: String {
    given.map { "\($0.name) \($0.text)" }.joined(separator: ", ")
  }
}
