public import Compute

extension CUDABackend {
  /// NVRTC is opened for it where no kernel had to be compiled.
  public var properties: [DeviceProperty] {
    func version(_ number: Int) -> String { "\(number / 1000).\(number % 1000 / 10)" }
    let total = (try? device.memory())?.total ?? 0
    let compiler = (try? library.compilerVersion()).map(version) ?? "not found"
    return [
      DeviceProperty("gpu", deviceName),
      DeviceProperty("gpu_memory_bytes", "\(total)"),
      DeviceProperty("gpu_multiprocessors", "\(device.multiprocessors)"),
      DeviceProperty("cuda_driver", version(device.driverVersion)),
      DeviceProperty("nvrtc", compiler),
      DeviceProperty("cublaslt", "\(linearLayers.version)"),
      DeviceProperty("gpu_kernels", kernels.rawValue),
      DeviceProperty("linear", linearPrecision.rawValue),
      DeviceProperty("attention_precision", attentionPrecision.rawValue),
    ]
  }
}
