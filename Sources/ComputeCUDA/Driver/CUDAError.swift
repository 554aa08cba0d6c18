/// A call to the driver or to a CUDA library that failed, in one line that says what to do.
public struct CUDAError: Error, CustomStringConvertible, Sendable, Equatable {
  /// The function: `cuLaunchKernel`.
  public let call: String
  /// The library's word for what went wrong: `CUDA_ERROR_ILLEGAL_ADDRESS`.
  public let name: String
  /// What the library says about it.
  public let detail: String
  /// What the user can do.
  public let remedy: String

  public var description: String { "\(call): \(name) (\(detail)); \(remedy)" }

  init(call: String, name: String, detail: String, remedy: String) {
    self.call = call
    self.name = name
    self.detail = detail
    self.remedy = remedy
  }

  /// The driver's number for memory that is not there.
  static let outOfMemory: Int32 = 2

  /// What to do about the driver's errors, by their numbers in cuda.h.
  static func remedy(ofDriverError code: Int32) -> String {
    switch code {
    case 2: "use a shorter prompt, a smaller --chunk, --kv fp8 or --kv-on host"
    case 35, 803: "update the NVIDIA driver"
    case 100: "this machine has no NVIDIA GPU that may be used; use --device cpu"
    case 209, 300: "this GPU is older than sm_80 (Ampere); use --device cpu"
    case 700, 714, 715, 716, 717, 718, 719:
      "this is a fault of a kernel: run `minference verify --device cuda` and report it"
    case 46, 101: "another program holds the GPU; wait for it or set CUDA_VISIBLE_DEVICES"
    default: "run nvidia-smi to see whether the GPU works, or use --device cpu"
    }
  }
}
