import ArgumentParser

/// Lists in one argument, for `transform:` of options.
enum List {
  /// The parts of `text` between separators, each parsed by `element`.
  static func parsed<Element>(
    _ text: String, separator: Character = ",", _ element: (String) throws -> Element
  ) throws -> [Element] {
    try text.split(separator: separator, omittingEmptySubsequences: false).map {
      try element(String($0))
    }
  }

  /// The case with this name.
  static func named<Choice>(_ text: String) throws -> Choice
  where Choice: RawRepresentable & CaseIterable, Choice.RawValue == String {
    guard let choice = Choice(rawValue: text) else {
      let known = Choice.allCases.map(\.rawValue)
      let last = known.last ?? ""
      throw ValidationError(
        "\"\(text)\" is not known; give "
          + (known.dropLast().joined(separator: ", ") + " or " + last))
    }
    return choice
  }
}
