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
    let columns = rows.map(\.count).max() ?? 0
    let widths = (0..<columns).map { column in
      rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0
    }
    var lines = rows.map { row in
      row.enumerated().map { column, cell in
        column == 0
          ? Quantity.padRight(cell, to: widths[column])
          : Quantity.padLeft(cell, to: widths[column])
      }.joined(separator: "  ")
    }
    lines.insert(widths.map { String(repeating: "-", count: $0) }.joined(separator: "  "), at: 1)
    return lines.map { Self.withoutTrailingBlanks($0) + "\n" }.joined()
  }

  private static func withoutTrailingBlanks(_ line: String) -> String {
    var line = line
    while line.last == " " { line.removeLast() }
    return line
  }
}
