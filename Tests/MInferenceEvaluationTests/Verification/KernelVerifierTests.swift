import MInference
import MInferenceEvaluation
import Testing

@Suite struct KernelVerifierTests {
  @Test func `every kernel of the CPU backend agrees with the reference`() throws {
    let checks = KernelVerifier.verify(try Device.cpu.makeBackend(threads: 2))
    #expect(checks.count >= 20)
    for check in checks {
      #expect(check.passed, "\(check.kernel): \(check.worst) of its tolerance, \(check.worstCase)")
    }
  }
}
