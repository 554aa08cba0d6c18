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
    let columns = AlignedColumns(escaped, minimum: 3)
    func line(_ cells: [String]) -> String { "| " + cells.joined(separator: " | ") + " |\n" }
    let rule = columns.widths.enumerated().map { column, width in
      String(repeating: "-", count: column == 0 ? width : width - 1) + (column == 0 ? "" : ":")
    }
    var lines = columns.rows.map(line)
    lines.insert(line(rule), at: 1)
    return lines.joined()
  }
}
