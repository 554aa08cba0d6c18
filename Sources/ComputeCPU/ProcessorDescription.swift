internal import CSystemCalls
public import Compute
import Files

#if canImport(Darwin)
  import Darwin
#endif

extension CPUBackend {
  public var properties: [DeviceProperty] {
    [
      DeviceProperty("processor", ProcessorDescription.name),
      DeviceProperty("processor_features", ProcessorDescription.features.joined(separator: " ")),
      DeviceProperty("instruction_set", instructionSet.rawValue),
      DeviceProperty("bfloat16_products", bfloat16ProductName ?? "none, float32"),
      DeviceProperty("threads", "\(threads)"),
      DeviceProperty("blas", blas?.description ?? "none, built-in products"),
    ]
  }
}

/// The processor as the operating system describes it.
enum ProcessorDescription {
  /// "Intel(R) Xeon(R) Platinum 8488C"
  static var name: String { field("model name") ?? systemName ?? "unknown" }

  /// Of the features that a kernel or a BLAS may use, those that the processor has, in the system's own
  /// spelling.
  static var features: [String] {
    let words = (field("flags") ?? field("Features") ?? "").split(separator: " ").map(String.init)
    let present = Set(words)
    return relevant.filter(present.contains)
  }

  private static let relevant = [
    "sse4_2", "avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512dq",
    "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16",
    "asimd", "asimddp", "asimdhp", "bf16", "i8mm", "sve", "sve2",
  ]

  /// The first value of this name in /proc/cpuinfo.
  private static func field(_ name: String) -> String? {
    guard let text = try? WholeFile.bytes(of: "/proc/cpuinfo", limit: 16 << 20) else { return nil }
    for line in text.split(separator: 0x0A) where line.starts(with: name.utf8) {
      guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { continue }
      let value = line[(colon + 1)...].drop { $0 == 0x20 || $0 == 0x09 }
      return String(decoding: value, as: UTF8.self)
    }
    return nil
  }

  private static var systemName: String? {
    #if canImport(Darwin)
      var size = 0
      guard sysctlbyname("machdep.cpu.brand_string", nil, &size, nil, 0) == 0 else { return nil }
      var text = [CChar](repeating: 0, count: size + 1)
      guard sysctlbyname("machdep.cpu.brand_string", &text, &size, nil, 0) == 0 else { return nil }
      return String(
        decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    #else
      return nil
    #endif
  }
}
