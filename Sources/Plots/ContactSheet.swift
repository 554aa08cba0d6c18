import TextReports

/// Every layer and head on one sheet, with pattern, density and recall below each.
public enum ContactSheet {
  /// - Parameter pictures: [layer][head], all of one prompt.
  public static func svg(_ pictures: [[AttentionPicture]], title: String) -> String {
    let side = 112.0
    let stride = (x: side + 22, y: side + 50)
    let left = 62.0
    let top = 72.0
    let heads = pictures.map(\.count).max() ?? 0
    var document = SVGDocument(
      width: left + Double(heads) * stride.x + 76,
      height: top + Double(pictures.count) * stride.y + 10, title: title)
    document.text(title, x: 16, y: 24, class: "ink title")
    if pictures.joined().contains(where: { $0.computed != nil }) {
      document.text("veiled: left out by the pattern", x: 16, y: 40, class: "muted small")
    }
    for head in 0..<heads {
      document.text(
        "head \(head)", x: left + Double(head) * stride.x + side / 2, y: top - 10,
        anchor: .middle, class: "muted small")
    }
    var floor = 1.0
    for (layer, row) in pictures.enumerated() {
      let y = top + Double(layer) * stride.y
      document.text(
        "layer \(layer)", x: left - 12, y: y + side / 2, anchor: .end, class: "muted small")
      for (head, picture) in row.enumerated() {
        floor = AttentionCells.floor(keys: picture.image.keys)
        document.group(x: left + Double(head) * stride.x, y: y) { document in
          let scale = side / Double(picture.image.cells)
          document.group(x: 0, y: 0, scale: scale, extra: " shape-rendering=\"crispEdges\"") {
            AttentionCells.draw(picture.image, floor: floor, in: &$0)
            if let computed = picture.computed { AttentionCells.drawVeil(computed, in: &$0) }
          }
          document.path("M0 0V\(Int(side))H\(Int(side))Z", class: "axis")
          document.text(picture.pattern, x: 0, y: side + 13, class: "ink", size: 9)
          document.text(
            "\(Quantity.percent(picture.density))"
              + (picture.recall.map { ", recall \(Quantity.fixed($0, 3))" } ?? ""), x: 0,
            y: side + 25, class: "muted", size: 9)
        }
      }
    }
    ColorScale.drawBar(
      in: &document, x: left + Double(heads) * stride.x - 4, y: top, height: 2 * side,
      label: "largest attention probability",
      ticks: [(0, AxisTicks.decimalOrPower(floor)), (1, "1")])
    return document.text
  }
}
