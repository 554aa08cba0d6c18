public import Compute

extension CUDABackend: LaunchOverlapping {
  package var overlapsLaunches: Bool {
    get { device.overlapsKernels }
    set { device.overlapsKernels = newValue }
  }
}

/// Decoding steps as graphs of the driver: one call repeats the hundreds of launches of a step.
extension CUDABackend: StepRecording {
  public func recordStep(
    rows: Int, keyLimit: Int, work: () throws -> Void
  ) throws -> any RecordedStep {
    try device.activate()
    let stream = try device.recordingStream()
    let step = try CUDAStep(
      rows: rows, keyLimit: keyLimit, recordingStream: stream, on: device)
    var graph: OpaquePointer?
    // CU_STREAM_CAPTURE_MODE_RELAXED: kernels may be loaded meanwhile, by any thread.
    try device.withStep(step) {
      try device.driver.check("cuStreamBeginCapture", device.driver.beginCapture(stream, 2))
      let result = Result { try work() }
      // Ends the recording whatever happened, so that the stream can be used again.
      let code = device.driver.endCapture(stream, &graph)
      try result.get()
      try device.driver.check("cuStreamEndCapture", code)
    }
    defer { _ = device.driver.destroyGraph(graph) }
    var executable: OpaquePointer?
    try device.driver.check(
      "cuGraphInstantiate", device.driver.instantiateGraph(&executable, graph, 0))
    return CUDARecordedStep(
      step, graph: executable, device: device, describe: describe(rows:))
  }

  public func performStep(
    ids: [Int32], positions: [Int], keyLimit: Int, work: () throws -> Void
  ) throws {
    let step = try CUDAStep(
      rows: ids.count, keyLimit: keyLimit, recordingStream: nil, on: device)
    try step.setInputs(ids: ids, positions: positions)
    try device.withStep(step, work)
  }
}
