import TextReports

/// A small writer of SVG: rectangles, lines, paths and text with classes from ``PlotStyle``.
///
/// Lengths are user units, one a pixel at full size; y grows downwards.
struct SVGDocument {
  let width: Double
  let height: Double
  /// The description that a screen reader speaks.
  let title: String
  private var body = ""

  init(width: Double, height: Double, title: String) {
    self.width = width
    self.height = height
    self.title = title
  }

  enum Anchor: String {
    case start
    case middle
    case end
  }

  mutating func rectangle(
    x: Double, y: Double, width: Double, height: Double, class name: String = "",
    fill: String? = nil, extra: String = ""
  ) {
    body += "<rect x=\"\(Self.number(x))\" y=\"\(Self.number(y))\" width=\"\(Self.number(width))\" "
    body += "height=\"\(Self.number(height))\"\(Self.attributes(name, fill))\(extra)/>\n"
  }

  mutating func line(
    _ from: (x: Double, y: Double), _ to: (x: Double, y: Double), class name: String
  ) {
    body += "<line x1=\"\(Self.number(from.x))\" y1=\"\(Self.number(from.y))\" "
    body +=
      "x2=\"\(Self.number(to.x))\" y2=\"\(Self.number(to.y))\"\(Self.attributes(name, nil))/>\n"
  }

  mutating func path(
    _ data: String, class name: String = "", fill: String? = nil, extra: String = ""
  ) {
    body += "<path d=\"\(data)\"\(Self.attributes(name, fill))\(extra)/>\n"
  }

  /// Lines through points.
  mutating func polyline(_ points: [(x: Double, y: Double)], class name: String) {
    let data = points.map { "\(Self.number($0.x)) \(Self.number($0.y))" }.joined(separator: "L")
    path("M" + data, class: name)
  }

  /// - Parameter turned: written upwards instead of to the right.
  mutating func text(
    _ text: String, x: Double, y: Double, anchor: Anchor = .start, class name: String = "ink",
    fill: String? = nil, size: Double? = nil, turned: Bool = false
  ) {
    body += "<text x=\"\(Self.number(x))\" y=\"\(Self.number(y))\""
    if anchor != .start { body += " text-anchor=\"\(anchor.rawValue)\"" }
    if let size { body += " style=\"font-size:\(Self.number(size))px\"" }
    if turned { body += " transform=\"rotate(-90 \(Self.number(x)) \(Self.number(y)))\"" }
    body += "\(Self.attributes(name, fill))>\(Self.escaped(text))</text>\n"
  }

  /// Moves and scales everything that `draw` draws.
  mutating func group(
    x: Double, y: Double, scale: Double = 1, extra: String = "", _ draw: (inout SVGDocument) -> Void
  ) {
    body += "<g transform=\"translate(\(Self.number(x)) \(Self.number(y)))"
    if scale != 1 { body += " scale(\(Self.number(scale, digits: 5)))" }
    body += "\"\(extra)>\n"
    draw(&self)
    body += "</g>\n"
  }

  /// The whole file.
  var text: String {
    let size = "\(Self.number(width)) \(Self.number(height))"
    return """
      <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(size)" width="\(Self.number(width))" \
      height="\(Self.number(height))" role="img">
      <title>\(Self.escaped(title))</title>
      <style>
      \(PlotStyle.css)
      </style>
      <rect width="100%" height="100%" class="paper"/>
      \(body)</svg>

      """
  }

  private static func attributes(_ name: String, _ fill: String?) -> String {
    (name.isEmpty ? "" : " class=\"\(name)\"") + (fill.map { " fill=\"\($0)\"" } ?? "")
  }

  /// A number as short as it can be: at most two decimals, no zeros at the end.
  static func number(_ value: Double, digits: Int = 2) -> String {
    var text = Quantity.fixed(value, digits)
    guard text.contains(".") else { return text }
    while text.last == "0" { text.removeLast() }
    if text.last == "." { text.removeLast() }
    return text
  }

  /// Text escaped for XML; control characters, which XML cannot hold, become blanks.
  static func escaped(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      case "\u{0}"..."\u{1F}": result += " "
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }
}
