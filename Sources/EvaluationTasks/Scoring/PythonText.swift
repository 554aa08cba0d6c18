/// Strings as Python's `str` treats them: by code points.
///
/// The published scores are defined by what Python's string functions do.
enum PythonText {
  /// Letters, digits and the underscore: the `\w` of regular expressions.
  static func isWord(_ scalar: Unicode.Scalar) -> Bool {
    if scalar == "_" { return true }
    switch scalar.properties.generalCategory {
    case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter,
      .decimalNumber, .letterNumber, .otherNumber:
      return true
    default: return false
    }
  }

  /// `str.split()`: parts between white space, none empty.
  static func words(_ text: String) -> [String] {
    text.unicodeScalars.split { isSpace($0) }.map { String(String.UnicodeScalarView($0)) }
  }

  /// `str.strip()`.
  static func stripped(_ text: String) -> String {
    var scalars = text.unicodeScalars.drop { isSpace($0) }
    while let last = scalars.last, isSpace(last) { scalars.removeLast() }
    return String(String.UnicodeScalarView(scalars))
  }

  /// Every occurrence of each of `parts`, one part after another, becomes a blank.
  static func replacingWithBlanks(_ text: String, _ parts: [String]) -> String {
    var scalars = Array(text.unicodeScalars)
    for part in parts.map({ Array($0.unicodeScalars) }) {
      var result: [Unicode.Scalar] = []
      var position = 0
      while position < scalars.count {
        if scalars[position...].starts(with: part) {
          result.append(" ")
          position += part.count
        } else {
          result.append(scalars[position])
          position += 1
        }
      }
      scalars = result
    }
    return string(scalars)
  }

  /// Runs of blanks (U+0020) become one.
  static func withSingleBlanks(_ text: String) -> String {
    var result: [Unicode.Scalar] = []
    for scalar in text.unicodeScalars where scalar != " " || result.last != " " {
      result.append(scalar)
    }
    return string(result)
  }

  static func string<Scalars: Sequence<Unicode.Scalar>>(_ scalars: Scalars) -> String {
    var view = String.UnicodeScalarView()
    view.append(contentsOf: scalars)
    return String(view)
  }

  /// `string.punctuation`: everything in ASCII that is neither letter, digit, blank nor control.
  static func isPunctuation(_ scalar: Unicode.Scalar) -> Bool {
    ("!"..."/").contains(scalar) || (":"..."@").contains(scalar) || ("["..."`").contains(scalar)
      || ("{"..."~").contains(scalar)
  }

  /// White space, and the four separators that Python counts as such.
  private static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
    scalar.properties.isWhitespace || ("\u{1C}"..."\u{1F}").contains(scalar)
  }
}
