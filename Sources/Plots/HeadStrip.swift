import TextReports

/// A few heads of one prompt side by side, each with what its pattern leaves out veiled.
public enum HeadStrip {
  /// - Parameter pictures: of one prompt.
  public static func svg(_ pictures: [AttentionPicture], title: String) -> String {
    let side = 232.0
    let stride = side + 34
    let (left, top) = (64.0, 74.0)
    var document = SVGDocument(
      width: left + Double(max(1, pictures.count)) * stride + 66, height: top + side + 92,
      title: title)
    document.text(title, x: 16, y: 24, class: "ink title")
    if pictures.contains(where: { $0.computed != nil }) {
      document.text("veiled: left out by the pattern", x: 16, y: 40, class: "muted small")
    }
    for (number, picture) in pictures.enumerated() {
      document.group(x: left + Double(number) * stride, y: top) { document in
        document.text("layer \(picture.layer), head \(picture.head)", x: 0, y: -9)
        picture.drawPanel(
          side: side, floor: AttentionCells.floor(keys: picture.image.keys), isVeiled: true,
          withLabels: number == 0, in: &document)
        document.text(picture.pattern, x: 0, y: side + 60)
        document.text(
          "density \(Quantity.percent(picture.density))"
            + (picture.recall.map { ", recall \(Quantity.fixed($0, 3))" } ?? ""), x: 0,
          y: side + 76, class: "muted small")
      }
    }
    pictures.first?.drawBar(
      x: left + Double(pictures.count) * stride - 14, y: top + 8, height: side - 16, in: &document)
    return document.text
  }
}
