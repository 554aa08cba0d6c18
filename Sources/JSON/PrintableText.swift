/// A text from a file as a message shows it: on one line, control characters as `\u{..}`, the middle
/// of a very long text left out.
///
/// - Parameter limit: Scalars that are shown at most.
package func printable(_ text: String, limit: Int = 400) -> String {
  let scalars = text.unicodeScalars
  guard
    let excess = scalars.index(scalars.startIndex, offsetBy: limit, limitedBy: scalars.endIndex),
    excess < scalars.endIndex
  else { return escaped(scalars[...]) }
  let half = limit / 2
  return escaped(scalars.prefix(half)) + "..." + escaped(scalars.suffix(half))
}

/// `printable` in quotation marks.
package func quoted(_ text: String, limit: Int = 120) -> String {
  "\"\(printable(text, limit: limit))\""
}

private func escaped(_ scalars: Substring.UnicodeScalarView) -> String {
  var result = ""
  for scalar in scalars {
    switch scalar.properties.generalCategory {
    case .control, .lineSeparator, .paragraphSeparator, .format:
      result += scalar.escaped(asASCII: true)
    default:
      result.unicodeScalars.append(scalar)
    }
  }
  return result
}
