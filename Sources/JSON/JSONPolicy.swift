/// What a reader of JSON accepts beyond RFC 8259.
///
/// Every policy reads `NaN`, `Infinity` and `-Infinity`, which Python's `json` writes. Bytes that are
/// not UTF-8 and lone surrogates are refused always: Python reads the latter, UTF-8 cannot hold them.
package struct JSONPolicy: Sendable, Equatable {
  /// What an object with a key twice means.
  package enum DuplicateKeys: Sendable, Equatable {
    /// The last member counts, as in Python's `json`.
    case lastWins
    /// The text is refused.
    case refused
  }

  package var duplicateKeys: DuplicateKeys
  /// Whether comments, trailing commas, unquoted keys, single quotation marks and the further numbers
  /// and escapes of JSON5 are read.
  package var allowsJSON5: Bool
  /// The deepest nesting of lists and objects that is read.
  package var maximumDepth: Int

  package init(
    duplicateKeys: DuplicateKeys = .lastWins, allowsJSON5: Bool = false, maximumDepth: Int = 64
  ) {
    self.duplicateKeys = duplicateKeys
    self.allowsJSON5 = allowsJSON5
    self.maximumDepth = maximumDepth
  }

  /// As Python's `json` reads: for configurations, tokenizers and data sets.
  package static let python = JSONPolicy()

  /// For texts in which a repeated key is a mistake.
  package static let uniqueKeys = JSONPolicy(duplicateKeys: .refused)

  /// JSON5 as well: for files that people edit by hand. Source: https://spec.json5.org.
  package static let json5 = JSONPolicy(allowsJSON5: true)
}

/// Why a text is not JSON.
package struct JSONError: Error, Equatable, Sendable {
  /// The byte of the text at which reading stopped.
  package let offset: Int
  package let problem: String

  package init(offset: Int, problem: String) {
    self.offset = offset
    self.problem = problem
  }
}
