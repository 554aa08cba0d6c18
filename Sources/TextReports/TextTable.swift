/// A table in plain text: the first column to the left, the others to the right.
package struct TextTable {
  private var rows: [[String]]

  package init(header: [String]) {
    rows = [header]
  }

  package mutating func append(_ row: [String]) {
    rows.append(row)
  }

  /// Lines that end in "\n", a rule under the header; columns are two blanks apart.
  package var text: String {
    let columns = AlignedColumns(rows)
    var lines = columns.rows.map { $0.joined(separator: "  ") }
    lines.insert(
      columns.widths.map { String(repeating: "-", count: $0) }.joined(separator: "  "), at: 1)
    return lines.map { Self.withoutTrailingBlanks($0) + "\n" }.joined()
  }

  private static func withoutTrailingBlanks(_ line: String) -> String {
    var line = line
    while line.last == " " { line.removeLast() }
    return line
  }
}
