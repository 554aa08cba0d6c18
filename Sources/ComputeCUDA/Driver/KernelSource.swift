internal import CUDASources
import Files

/// One embedded file of `Kernels/`.
package struct KernelSource: @unchecked Sendable {
  package let name: String
  let cName: UnsafePointer<CChar>
  package let text: UnsafePointer<CChar>

  private init?(_ source: mi_cuda_source) {
    guard let name = source.name, let text = source.text else { return nil }
    self.name = String(cString: name)
    cName = name
    self.text = text
  }

  /// Options of every compilation.
  static let options = ["--std=c++17", "--device-as-default-execution-space"]

  /// Files that are compiled, in the order of their names.
  package static let kernels: [KernelSource] = sources(mi_cuda_kernels, mi_cuda_kernel_count)

  /// Files with functions for every format of blocks, which are compiled for one format at a time.
  static let kernelsOfFormats = 4

  /// Files that those include.
  package static let headers: [KernelSource] = sources(mi_cuda_headers, mi_cuda_header_count)

  private static func sources(
    _ first: UnsafePointer<mi_cuda_source>?, _ count: Int32
  ) -> [KernelSource] {
    UnsafeBufferPointer(start: first, count: Int(count)).compactMap(KernelSource.init)
  }

  /// Whether the file uses instructions that only Hopper (sm_90a) has.
  package var isForHopper: Bool { name.hasSuffix("_hopper.cu") }

  /// What the file is compiled for on a GPU of that architecture; nil where it does not run.
  package func target(architecture: Int) -> String? {
    if isForHopper { return architecture == 90 ? "sm_90a" : nil }
    return "sm_\(architecture)"
  }

  /// What the names of its entries in the cache begin with: everything that the code depends on but the
  /// version of NVRTC, which is what follows.
  package func cachePrefix(target: String, driver: Int, options: [String] = []) -> String {
    "\(name).\(target).\(String(fingerprint([target, "\(driver)"] + options), radix: 16)).nvrtc"
  }

  /// A number that changes with this file, with any header and with the options.
  func fingerprint(_ salt: [String]) -> UInt64 {
    var fingerprint = Fingerprint()
    for file in [self] + Self.headers {
      var place = file.text
      while place.pointee != 0 {
        fingerprint.add(UInt8(bitPattern: place.pointee))
        place += 1
      }
      fingerprint.add(UInt8(0))
    }
    for text in Self.options + salt {
      for byte in text.utf8 { fingerprint.add(byte) }
      fingerprint.add(UInt8(0))
    }
    return fingerprint.value
  }
}
