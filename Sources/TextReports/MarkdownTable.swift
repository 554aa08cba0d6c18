/// A table in Markdown; its columns line up as plain text, too.
package struct MarkdownTable {
  private var rows: [[String]]

  package init(header: [String]) {
    rows = [header]
  }

  package mutating func append(_ row: [String]) {
    rows.append(row)
  }

  /// Lines that end in "\n". The first column is set to the left, the others to the right.
  package var text: String {
    let escaped = rows.map { $0.map { $0.split(separator: "|").joined(separator: "\\|") } }
    let columns = escaped.map(\.count).max() ?? 0
    let widths = (0..<columns).map { column in
      max(3, escaped.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0)
    }
    func line(_ cells: [String]) -> String { "| " + cells.joined(separator: " | ") + " |\n" }
    var lines = escaped.map { row in
      line(
        widths.enumerated().map { column, width in
          let cell = column < row.count ? row[column] : ""
          return column == 0
            ? Quantity.padRight(cell, to: width) : Quantity.padLeft(cell, to: width)
        })
    }
    lines.insert(
      line(
        widths.enumerated().map { column, width in
          String(repeating: "-", count: column == 0 ? width : width - 1) + (column == 0 ? "" : ":")
        }), at: 1)
    return lines.joined()
  }
}
