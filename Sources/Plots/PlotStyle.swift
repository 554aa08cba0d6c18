/// Colours of plots, for light and for dark surroundings.
///
/// Series have the colours of Okabe and Ito ("Color universal design", 2008), which people with any
/// kind of colour vision tell apart; lines differ in dashes and marks as well.
enum PlotStyle {
  /// The number of series that look different; further ones repeat.
  static let seriesCount = 7

  private static let light = [
    "#1f2328", "#0072b2", "#d55e00", "#009e73", "#b0578d", "#8a6d00", "#56708f",
  ]
  private static let dark = [
    "#f0f6fc", "#56b4e9", "#ff8c3a", "#2fd0a0", "#e6a3c8", "#f0e442", "#a8bdd6",
  ]
  private static let dashes = ["", "", "7 3", "2 3", "9 3 2 3", "4 2", "1 2"]

  static let css: String = {
    var text = """
      text{font-family:system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif;font-size:12px}
      .title{font-size:15px;font-weight:600}.small{font-size:10px}
      .line{fill:none;stroke-width:2}.outline{fill:none;stroke-width:1}
      """
    text += surface(
      paper: "#ffffff", ink: "#1f2328", muted: "#59636e", grid: "#d8dee4", veil: "#e4e7eb", light)
    for (number, dash) in dashes.enumerated() where !dash.isEmpty {
      text += "\n.d\(number){stroke-dasharray:\(dash)}"
    }
    text += "\n@media (prefers-color-scheme: dark){"
    text += surface(
      paper: "#0d1117", ink: "#f0f6fc", muted: "#9198a1", grid: "#30363d", veil: "#343b44", dark)
    return text + "\n}"
  }()

  private static func surface(
    paper: String, ink: String, muted: String, grid: String, veil: String, _ series: [String]
  ) -> String {
    var text = """

      .paper{fill:\(paper)}.ink{fill:\(ink)}.muted{fill:\(muted)}.veil{fill:\(veil)}
      .axis{stroke:\(muted);stroke-width:1;fill:none}.grid{stroke:\(grid);stroke-width:1;fill:none}
      """
    for (number, color) in series.enumerated() {
      text += "\n.s\(number){stroke:\(color)}.f\(number){fill:\(color)}"
    }
    return text
  }

  /// A mark of a series around a point; shapes differ from series to series.
  static func mark(_ series: Int, x: Double, y: Double) -> String {
    let n = { (value: Double) in SVGDocument.number(value) }
    switch series % 4 {
    case 0: return "M\(n(x - 4)) \(n(y))a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z"
    case 1: return "M\(n(x - 3.6)) \(n(y - 3.6))h7.2v7.2h-7.2z"
    case 2: return "M\(n(x)) \(n(y - 5))l5 8.6h-10z"
    default: return "M\(n(x)) \(n(y - 5.2))l5.2 5.2l-5.2 5.2l-5.2 -5.2z"
    }
  }
}
