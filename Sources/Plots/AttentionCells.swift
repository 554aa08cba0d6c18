#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Draws the cells of attention images: one path for each shade, cells in a row joined.
enum AttentionCells {
  static let shades = 28

  /// The scale's lower end for a prompt of `keys` keys: the power of ten at or below a quarter of the uniform
  /// probability.
  static func floor(keys: Int) -> Double { pow(10, Double(floorExponent(keys: keys))) }

  /// log10 of ``floor(keys:)``.
  static func floorExponent(keys: Int) -> Int {
    Int(log10(0.25 / Double(max(1, keys))).rounded(.down))
  }

  /// 0 at the scale's lower end, 1 at probability 1.
  static func share(_ probability: Double, floor: Double) -> Double {
    probability <= floor ? 0 : min(1, 1 - log10(probability) / log10(floor))
  }

  /// Fills the square from (0, 0), a unit for each cell.
  static func draw(_ image: AttentionImage, floor: Double, in document: inout SVGDocument) {
    draw(cells: image.cells, in: &document, styles: shades) { row, column in
      let value = Double(image.maxima[row * image.cells + column])
      return Int((share(value, floor: floor) * Double(shades - 1)).rounded())
    } style: { shade in
      (fill: ColorScale.color(Double(shade) / Double(shades - 1)), extra: "")
    }
  }

  /// Dims the cells whose brightest pair is not computed.
  static func drawVeil(_ computed: ComputedCells, in document: inout SVGDocument) {
    draw(cells: computed.cells, in: &document, styles: 2) { row, column in
      computed.isComputed[row * computed.cells + column] ? 0 : 1
    } style: { number in
      number == 0 ? nil : (fill: nil, extra: " fill-opacity=\"0.82\"")
    }
  }

  private static func draw(
    cells: Int, in document: inout SVGDocument, styles: Int,
    value: (_ row: Int, _ column: Int) -> Int,
    style: (Int) -> (fill: String?, extra: String)?
  ) {
    var paths = [String](repeating: "", count: styles)
    for row in 0..<cells {
      var column = 0
      while column <= row {
        let number = value(row, column)
        var end = column + 1
        while end <= row, value(row, end) == number { end += 1 }
        paths[number] += "M\(column) \(row)h\(end - column)v1h-\(end - column)z"
        column = end
      }
    }
    for (number, path) in paths.enumerated() where !path.isEmpty {
      guard let style = style(number) else { continue }
      document.path(
        path, class: style.fill == nil ? "veil" : "", fill: style.fill, extra: style.extra)
    }
  }
}
