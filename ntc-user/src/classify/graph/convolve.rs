//! Convolution along one axis.

use std::borrow::Cow;

use super::{
    multiply::{multiply, turned},
    tensor::{Outcome, Tensor},
};

/// How the kernel is moved.
#[derive(Debug)]
pub struct Convolution {
    /// From one value of the kernel to the next.
    pub dilation: usize,
    /// From one place of the kernel to the next.
    pub stride: usize,
    /// Zeros before and behind.
    pub pads: (usize, usize),
    /// The kernel is given with the channels of the result last.
    pub turned: bool,
}

impl Convolution {
    /// Turns the kernel once for all.
    pub fn turn(&mut self, kernel: &Tensor) -> Outcome {
        let [results, depth, width] = kernel.shape[..] else { return Err("only one axis is convolved") };
        self.turned = true;
        Ok(Tensor::float(vec![depth, width, results], turned(kernel.floats()?, results, depth * width)))
    }

    /// Of flows with channels, by a kernel for each channel of the result.
    pub fn compute(&self, input: &Tensor, kernel: &Tensor, bias: Option<&Tensor>) -> Outcome {
        let (&[flows, channels, length], &[first, second, third]) = (&input.shape[..], &kernel.shape[..])
        else {
            return Err("only one axis is convolved");
        };
        let (results, depth, width) =
            if self.turned { (third, first, second) } else { (first, second, third) };
        let reach = (width.max(1) - 1) * self.dilation + 1;
        let padded = length + self.pads.0 + self.pads.1;
        if depth != channels || width == 0 || padded < reach {
            return Err("the kernel does not fit");
        }
        let places = (padded - reach) / self.stride + 1;
        let bias = bias.map(Tensor::floats).transpose()?;
        if bias.is_some_and(|bias| bias.len() != results) {
            return Err("as many biases as channels are asked for");
        }
        let (values, kernel) = (input.floats()?, kernel.floats()?);
        let kernel: Cow<'_, [f32]> =
            if self.turned { kernel.into() } else { turned(kernel, results, channels * width).into() };
        // Flow by flow, so that the unrolled values stay in the cache.
        let mut unrolled = vec![0.0; places * channels * width];
        let mut sums = vec![0.0; places * results];
        let mut out = vec![0.0; flows * results * places];
        for flow in 0..flows {
            let values = &values[flow * channels * length..][..channels * length];
            for place in 0..places {
                let line = &mut unrolled[place * channels * width..][..channels * width];
                for step in 0..width {
                    let at = (place * self.stride + step * self.dilation).checked_sub(self.pads.0);
                    let at = at.filter(|at| *at < length);
                    for channel in 0..channels {
                        line[channel * width + step] = at.map_or(0.0, |at| values[channel * length + at]);
                    }
                }
            }
            match bias {
                Some(bias) => sums.chunks_exact_mut(results).for_each(|row| row.copy_from_slice(bias)),
                None => sums.fill(0.0),
            }
            multiply(&unrolled, &kernel, &mut sums, (places, channels * width, results));
            let out = &mut out[flow * results * places..][..results * places];
            for (place, row) in sums.chunks_exact(results).enumerate() {
                for (channel, sum) in row.iter().enumerate() {
                    out[channel * places + place] = *sum;
                }
            }
        }
        Ok(Tensor::float(vec![flows, results, places], out))
    }
}
