public import Compute

/// A call to the driver or to a CUDA library that failed, in one line that says what to do.
public struct CUDAError: RemediedError, Sendable, Equatable {
  /// The function: `cuLaunchKernel`.
  public let call: String
  /// The library's word for what went wrong: `CUDA_ERROR_ILLEGAL_ADDRESS`.
  public let name: String
  /// What the library says about it.
  public let detail: String
  /// What the user can do.
  public let remedy: Remedy

  public func description(naming name: (Remedy.Setting) -> String) -> String {
    "\(call): \(self.name) (\(detail)); \(remedy.text(naming: name))"
  }

  init(call: String, name: String, detail: String, remedy: Remedy) {
    self.call = call
    self.name = name
    self.detail = detail
    self.remedy = remedy
  }

  /// The driver's number for memory that is not there.
  static let outOfMemory: Int32 = 2

  /// What to do about the driver's errors, by their numbers in cuda.h.
  static func remedy(ofDriverError code: Int32) -> Remedy {
    switch code {
    case 2: Remedy(use: .shorterPrompt, .smallerChunk, .float8KeyValues, .keyValuesOnHost)
    case 35, 803: "update the NVIDIA driver"
    case 100: Remedy("this machine has no NVIDIA GPU that may be used", use: .processor)
    case 209, 300: Remedy("this GPU is older than sm_80 (Ampere)", use: .processor)
    case 700, 714, 715, 716, 717, 718, 719:
      "this is a fault of a kernel: verify the kernels on this GPU (minference verify) and report it"
    case 46, 101: "another program holds the GPU; wait for it or set CUDA_VISIBLE_DEVICES"
    default: Remedy("run nvidia-smi to see whether the GPU works", use: .processor)
    }
  }
}
