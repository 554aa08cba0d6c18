import ArgumentParser
import MInference

/// One way of reading prompts, written in one argument: "dense", "antidiagonal,share=0.6,floor=0.05",
/// "patterns=FILE".
struct AttentionMethod: Hashable {
  enum Kind: Hashable {
    case mode(AttentionMode, AttentionBudgets)
    case patterns(file: String)
  }

  /// As it was written; of a file its name.
  let name: String
  let kind: Kind

  static func parsed(_ text: String) throws -> AttentionMethod {
    let parts = try List.parsed(text) { $0 }
    if let file = value(of: "patterns", in: parts[0]) {
      guard parts.count == 1, !file.isEmpty else {
        throw ValidationError(
          "\"\(text)\": give patterns=FILE and nothing else, or a mode with budgets")
      }
      return AttentionMethod(
        name: file.split(separator: "/").last.map(String.init) ?? file,
        kind: .patterns(file: file))
    }
    guard let mode = AttentionMode(rawValue: parts[0]) else {
      let known = AttentionMode.allCases.map(\.rawValue).joined(separator: ", ")
      throw ValidationError(
        "\"\(parts[0])\" is not known; give patterns=FILE or one of \(known), with budgets as in "
          + "antidiagonal,share=0.6,floor=0.05")
    }
    var given: [String: Double] = [:]
    for part in parts.dropFirst() {
      let sides = part.split(separator: "=", omittingEmptySubsequences: false).map(String.init)
      guard sides.count == 2, !sides[0].isEmpty, let number = number(sides[1]),
        given.updateValue(number, forKey: sides[0]) == nil
      else {
        throw ValidationError("\"\(part)\" is no budget; give NAME=NUMBER, each name once")
      }
    }
    let budgets = AttentionBudgets(given)
    let unused = mode.unusedBudgets(budgets, hasPatternFile: false)
    guard unused.isEmpty else {
      throw ValidationError(
        "\(unused.joined(separator: ", ")): no budget of \(mode.rawValue); give its own")
    }
    do {
      _ = try mode.pattern(budgets)
    } catch {
      throw ValidationError("\"\(text)\": \(ErrorText.of(error))")
    }
    return AttentionMethod(name: text, kind: .mode(mode, budgets))
  }

  /// VALUE of "NAME=VALUE".
  private static func value(of name: String, in text: String) -> String? {
    text.hasPrefix(name + "=") ? String(text.dropFirst(name.count + 1)) : nil
  }

  /// A finite number: digits, or a size such as 4K.
  private static func number(_ text: String) -> Double? {
    if let number = Double(text) { return number.isFinite ? number : nil }
    return Size(argument: text).map { Double($0.value) }
  }

  /// The planner of this way on a model; nil: dense.
  func planner(for model: LanguageModel, exact: Bool) throws -> AttentionPlanner? {
    switch kind {
    case .mode(let mode, let budgets):
      return try model.planner(
        for: AttentionOptions(mode: mode, budgets: budgets, exact: exact))
    case .patterns(let file):
      let configuration = try PatternConfiguration(contentsOfFile: file)
      let transformer = model.transformer
      return AttentionPlanner(
        configuration: try configuration.validated(
          layers: transformer.layerCount, heads: transformer.attentionShape(layer: 0).queryHeads),
        exact: exact, costModel: configuration.costModel(onDevice: transformer.backend.name))
    }
  }
}
