import Benchmarks
import Plots

extension PrefillMeasurement {
  /// Time to first token against length, a curve for each kind of attention, as SVG.
  static func plot(_ rows: [PrefillMeasurement]) -> String {
    var names: [String] = []
    for row in rows where !names.contains(row.mode) { names.append(row.mode) }
    return TimeCurves.svg(
      names.map { name in
        TimeCurves.Series(
          name: name,
          points: rows.filter { $0.mode == name }.map {
            TimeCurves.Point(tokens: $0.tokens, seconds: $0.timeToFirstToken)
          })
      })
  }
}
