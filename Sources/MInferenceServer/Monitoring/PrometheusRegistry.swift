package import CoreMetrics
import MInference
import Synchronization

/// A backend of swift-metrics that writes what was recorded in Prometheus' text format.
///
/// Counters end in `_total`. Timers are histograms in seconds, recorders histograms, or gauges where
/// values are not to be summarised; meters are gauges. A label with other characters than Prometheus allows has `_`
/// in their place. At most ``mostSeries`` series are kept: what a client may choose must not fill the memory.
package final class PrometheusRegistry: MetricsFactory {
  /// Series beyond these are not recorded.
  package static let mostSeries = 4096

  /// The bounds of histograms.
  static let bounds = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800,
  ]

  private struct Key: Hashable {
    let name: String
    let labels: String
  }

  private let series = Mutex<[Key: PrometheusSeries]>([:])

  package init() {}

  package func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
    find(.counter, label, "_total", dimensions)
  }

  package func makeFloatingPointCounter(
    label: String, dimensions: [(String, String)]
  ) -> any FloatingPointCounterHandler {
    find(.counter, label, "_total", dimensions)
  }

  package func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
    find(.gauge, label, "", dimensions)
  }

  package func makeRecorder(
    label: String, dimensions: [(String, String)], aggregate: Bool
  ) -> any RecorderHandler {
    find(aggregate ? .histogram : .gauge, label, "", dimensions)
  }

  package func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
    find(.histogram, label, "_seconds", dimensions)
  }

  // What was recorded stays: a program that makes a metric anew goes on counting.
  package func destroyCounter(_ handler: any CounterHandler) {}
  package func destroyFloatingPointCounter(_ handler: any FloatingPointCounterHandler) {}
  package func destroyMeter(_ handler: any MeterHandler) {}
  package func destroyRecorder(_ handler: any RecorderHandler) {}
  package func destroyTimer(_ handler: any TimerHandler) {}

  private func find(
    _ kind: PrometheusSeries.Kind, _ label: String, _ suffix: String,
    _ dimensions: [(String, String)]
  ) -> PrometheusSeries {
    var name = Self.name(label)
    if !name.hasSuffix(suffix) { name += suffix }
    let labels = dimensions.map { "\(Self.name($0.0))=\"\(Self.escaped($0.1))\"" }
    let key = Key(name: name, labels: labels.joined(separator: ","))
    return series.withLock { series in
      if let found = series[key] { return found }
      let new = PrometheusSeries(kind)
      if series.count < Self.mostSeries { series[key] = new }
      return new
    }
  }

  /// Everything that was recorded.
  package var text: String {
    let series = series.withLock { $0 }.sorted {
      ($0.key.name, $0.key.labels) < ($1.key.name, $1.key.labels)
    }
    var lines = ""
    var family = ""
    for (key, value) in series {
      if key.name != family {
        family = key.name
        lines += "# TYPE \(family) \(value.kind.rawValue)\n"
      }
      lines += value.lines(key.name, labels: key.labels)
    }
    return lines
  }

  /// Letters, digits, `_` and `:` stay.
  static func name(_ label: String) -> String {
    var name = ""
    for scalar in label.unicodeScalars {
      switch scalar {
      case "a"..."z", "A"..."Z", "_", ":": name.unicodeScalars.append(scalar)
      case "0"..."9": name += (name.isEmpty ? "_" : "") + String(scalar)
      default: name += "_"
      }
    }
    return name.isEmpty ? "_" : name
  }

  /// The value of a label.
  static func escaped(_ value: String) -> String {
    var escaped = ""
    for character in value {
      switch character {
      case "\\": escaped += "\\\\"
      case "\"": escaped += "\\\""
      case "\n": escaped += "\\n"
      default: escaped.append(character)
      }
    }
    return escaped
  }
}

/// One series: a name with the values of its labels.
final class PrometheusSeries: CounterHandler, FloatingPointCounterHandler, MeterHandler,
  RecorderHandler, TimerHandler
{
  enum Kind: String {
    case counter, gauge, histogram
  }

  private struct State {
    /// Of a counter or a gauge.
    var value = 0.0
    var histogram = EngineMetrics.Histogram(bounds: PrometheusRegistry.bounds)
  }

  let kind: Kind
  private let state = Mutex(State())

  init(_ kind: Kind) { self.kind = kind }

  func increment(by amount: Int64) { add(Double(amount)) }
  func increment(by amount: Double) { add(amount) }
  func decrement(by amount: Double) { add(-amount) }
  func reset() { set(0.0) }
  func set(_ value: Int64) { set(Double(value)) }
  func set(_ value: Double) { state.withLock { $0.value = value } }
  func record(_ value: Int64) { record(Double(value)) }
  func recordNanoseconds(_ duration: Int64) { record(Double(duration) / 1e9) }

  func record(_ value: Double) {
    state.withLock { state in
      state.value = value
      state.histogram.add(value)
    }
  }

  private func add(_ amount: Double) { state.withLock { $0.value += amount } }

  func lines(_ name: String, labels: String) -> String {
    let state = state.withLock { $0 }
    guard kind == .histogram else {
      return "\(name)\(labels.isEmpty ? "" : "{\(labels)}") \(Metrics.number(state.value))\n"
    }
    return Metrics.lines(of: state.histogram, name, labels: labels)
  }
}
