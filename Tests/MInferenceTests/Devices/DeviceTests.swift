import MInference
import Testing

@Suite struct DeviceTests {
  @Test func `names are those of the providers, and others are no device`() {
    #expect(Device.allCases.map(\.rawValue) == ["auto", "cpu", "cuda"])
    #expect(Device(rawValue: "cuda") == .cuda && Device(rawValue: "auto") == .auto)
    #expect(Device(rawValue: "metal") == nil && Device(rawValue: "") == nil)
  }

  @Test func `what the fastest device is agrees with what is opened as such`() throws {
    let backend = try Device.auto.makeBackend(threads: 1)
    #expect(Device.auto.resolved.rawValue == backend.name)
    #expect(Device.cpu.resolved == .cpu)
  }

  @Test func `the processor refuses eight bits, and too many threads`() throws {
    #expect(throws: ComputeError.self) { try Device.cpu.makeBackend(linear: .fp8) }
    #expect(throws: ComputeError.self) { try Device.cpu.makeBackend(attentionPrecision: .fp8) }
    #expect(throws: ComputeError.self) {
      try Device.cpu.makeBackend(threads: Device.mostThreads + 1)
    }
  }
}
