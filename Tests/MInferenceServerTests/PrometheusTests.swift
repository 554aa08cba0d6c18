import CoreMetrics
import MInferenceServer
import Testing

@Suite struct PrometheusTests {
  @Test func `what swift-metrics records is written as Prometheus reads it`() {
    let registry = PrometheusRegistry()
    let counter = Counter(
      label: "jobs.done", dimensions: [("kind of", "a\"b\\c\nd")], factory: registry)
    counter.increment(by: 3)
    // The same metric once more.
    Counter(
      label: "jobs.done", dimensions: [("kind of", "a\"b\\c\nd")], factory: registry
    ).increment()
    let meter = Meter(label: "depth", dimensions: [], factory: registry)
    meter.set(2.5)
    meter.decrement(by: 1)
    let timer = Timer(label: "http.wait", dimensions: [("route", "/")], factory: registry)
    timer.recordNanoseconds(20_000_000)
    timer.recordNanoseconds(40_000_000_000)
    let lines = registry.text.split(separator: "\n").map(String.init)
    #expect(lines.contains("# TYPE jobs_done_total counter"))
    #expect(lines.contains(#"jobs_done_total{kind_of="a\"b\\c\nd"} 4"#))
    #expect(lines.contains("# TYPE depth gauge") && lines.contains("depth 1.5"))
    #expect(lines.contains("# TYPE http_wait_seconds histogram"))
    #expect(lines.contains(#"http_wait_seconds_bucket{route="/",le="0.01"} 0"#))
    #expect(lines.contains(#"http_wait_seconds_bucket{route="/",le="0.025"} 1"#))
    #expect(lines.contains(#"http_wait_seconds_bucket{route="/",le="+Inf"} 2"#))
    #expect(lines.contains(#"http_wait_seconds_count{route="/"} 2"#))
    #expect(lines.contains(#"http_wait_seconds_sum{route="/"} 40.02"#))
  }

  @Test func `no more series are kept than may be`() {
    let registry = PrometheusRegistry()
    for number in 0..<PrometheusRegistry.mostSeries + 10 {
      Counter(label: "c", dimensions: [("n", "\(number)")], factory: registry).increment()
    }
    #expect(
      registry.text.split(separator: "\n").count == PrometheusRegistry.mostSeries + 1)
  }
}
