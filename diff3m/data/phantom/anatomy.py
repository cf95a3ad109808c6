"""Anatomy from a record by stated equations; what the record does not explain is drawn at random.

Lengths are in cm on the detector. Beside each coefficient is its source, or "assumed" where there is none. The
direction of each effect is that of textbook radiology (Goodman, *Felson's Principles of Chest Roentgenology*); sizes
are of the right order, and exact only in that this simulator uses them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .patient import Patient

CTR_NORMAL = 0.435  # a 50-year-old of BMI 25 and 120 mmHg, PA; adult mean 0.44-0.46 on PA films
CTR_PER_MMHG = 0.0015  # assumed; the left ventricle of long-standing hypertension is larger
CTR_PER_BMI = 0.0030  # assumed; epicardial fat and a raised diaphragm widen the shadow
CTR_PER_YEAR = 0.0006  # assumed; reported rises are 0.0005-0.001 a year of adult life
CTR_AP = 0.050  # magnification at 100 against 180 cm, and the lying position; reported 10-15 % wider
CTR_SPREAD = 0.016  # assumed


@dataclass(frozen=True)
class Anatomy:
    """Everything that `render` needs; lengths in cm on the detector, y downward from the field's upper edge.

    field_cm: side of the square field. center_x, apex_y: position of the midline and of the lungs' apices in it.
    rotation: of the chest in the field, radians.
    thorax_width: inner width of the rib cage at its widest. thorax_length: of the rib cage, from the apex to the
    average diaphragm of a slim standing person. lung_length: from the apex to the right dome of the diaphragm.
    diaphragm_tilt: how much lower the left dome is. diaphragm_dome: height of the domes.
    ctr: cardiothoracic ratio. heart_left_share: share of the heart's width to the image's right of the midline.
    rim_cm: soft tissue beside the ribs. depth_cm: of the body, front to back. shoulder_cm, shoulder_y: half width and
    height of the shoulders. breast_cm, breast_depth_cm: radius, 0 for none, and depth.
    aortic_knob_cm, aortic_unfolding_cm, mediastinum_cm: radius of the aortic knob, bulge of the descending aorta, half
    width of the mediastinum.
    rib_slope, clavicle_slope: of the ribs as a factor, of the clavicles in cm of rise per cm outward. scapula_shift: of
    the scapulae, outward. stomach_cm: of the stomach's air bubble, 0 for none.
    rib_density, vessels, exposure, contrast, noise, scatter: factors or offsets of bone, vessels and exposure.
    texture_seed: of vessels, parenchyma and noise.
    collimation: black borders at the left, right, top and bottom, as shares of the side. marker: x, y and brightness of
    the side marker, or None. devices: names of the devices on the film, "leads" and "line".
    mediastinal_shift: of heart, trachea and great vessels, to the image's right. diaphragm_elevation: of the image's
    left and right dome.
    """

    field_cm: float
    center_x: float
    apex_y: float
    rotation: float
    thorax_width: float
    thorax_length: float
    lung_length: float
    diaphragm_tilt: float
    diaphragm_dome: float
    ctr: float
    heart_left_share: float
    rim_cm: float
    depth_cm: float
    shoulder_cm: float
    shoulder_y: float
    aortic_knob_cm: float
    aortic_unfolding_cm: float
    mediastinum_cm: float
    rib_density: float
    rib_slope: float
    clavicle_slope: float
    scapula_shift: float
    breast_cm: float
    breast_depth_cm: float
    stomach_cm: float
    vessels: float
    exposure: float
    contrast: float
    noise: float
    scatter: float
    texture_seed: int
    collimation: tuple[float, float, float, float]
    marker: tuple[float, float, float] | None
    devices: tuple[str, ...]
    mediastinal_shift: float = 0.0
    diaphragm_elevation: tuple[float, float] = (0.0, 0.0)


def compute_cardiothoracic_ratio(patient: Patient) -> float:
    """Return the expected cardiothoracic ratio of a record, without individual variation."""
    ctr = CTR_NORMAL + CTR_PER_MMHG * (patient.systolic_mmhg - 120) + CTR_PER_BMI * (patient.bmi - 25)
    ctr += CTR_PER_YEAR * (patient.age - 50) + (CTR_AP if patient.view == "AP" else 0.0)
    return float(np.clip(ctr, 0.34, 0.68))


def draw_anatomy(patient: Patient, rng: np.random.Generator) -> Anatomy:
    """Draw the anatomy of a patient.

    With the same state of `rng`, another patient has the same individual variation: they are the same person otherwise.
    """
    z, u = rng.normal(size=24), rng.uniform(size=18)  # always all of them, so that none depends on the patient
    seed = int(rng.integers(2**31))
    male, ap = patient.sex == "M", patient.view == "AP"
    over = patient.bmi - 25
    magnification = 1.10 if ap else 1.05  # SID 100 cm against 180 cm, mid-thorax 10 cm from the detector
    older = max(patient.age - 40, 0.0)
    taller = patient.height_cm - (175 if male else 161)
    systolic, diastolic = patient.systolic_mmhg, patient.diastolic_mmhg
    width = (26.6 if male else 24.6) + 0.07 * taller + 0.05 * over + 0.6 * z[0]  # assumed
    length = (0.138 * patient.height_cm + 0.5 * z[1]) * magnification  # assumed share of the height
    elevation = 0.11 * over + (1.8 if ap else 0.0) + 0.7 * z[23]  # abdominal fat and lying raise the diaphragm; assumed
    rim = np.clip(1.3 + 0.17 * over + (0.35 if not male else 0.0) + 0.25 * z[2], 0.5, None)  # assumed
    depth = 20.0 + 0.42 * over + (1.0 if male else 0.0) + 0.7 * z[3]  # chest depth 20-25 cm; assumed slope
    knob = 1.45 + 0.013 * older + 0.006 * (systolic - 120) + 0.006 * (diastolic - 75) + 0.12 * z[4]  # assumed
    bone = 1.05 - (0.0055 if male else 0.0085) * older + 0.06 * z[5]  # bone loss, faster in women; assumed
    breast = 0.0 if male else float(np.clip(4.6 + 0.13 * over + 0.5 * z[6], 3.0, 9.0))
    length = float(np.clip(length, 17.0, 31.0))
    width = float(np.clip(width * magnification, 21.0, 35.0))
    field = float(np.clip((1.20 * length + 7.0) * (1.0 + 0.02 * z[7]), 32.0, 44.0))  # collimated to the chest
    return Anatomy(
        field_cm=field,
        center_x=field / 2 + 0.45 * z[8],
        apex_y=field * (0.10 - (0.012 if ap else 0.0)) + 0.5 * z[9],
        rotation=float(np.radians((1.6 if ap else 0.9) * z[10])),
        thorax_width=width,
        thorax_length=length,
        lung_length=float(np.clip(length - elevation * magnification, 13.0, length + 2.0)),
        diaphragm_tilt=float(np.clip(0.9 + 0.35 * z[11], -0.2, 2.0)),
        diaphragm_dome=3.4 + 0.4 * z[12],
        ctr=float(np.clip(compute_cardiothoracic_ratio(patient) + CTR_SPREAD * z[13], 0.33, 0.70)),
        heart_left_share=float(np.clip(0.68 + 0.03 * z[14], 0.58, 0.78)),
        rim_cm=float(rim) * magnification,
        depth_cm=float(np.clip(depth, 15.0, 42.0)),
        shoulder_cm=((19.5 if male else 17.3) + 0.5 * z[15]) * magnification,
        shoulder_y=-1.2 * ap + 0.6 * z[16],
        aortic_knob_cm=float(np.clip(knob, 1.0, 3.2)) * magnification,
        aortic_unfolding_cm=float(np.clip(0.018 * older + 0.15 * z[17], 0.0, 1.6)),  # assumed
        mediastinum_cm=(2.35 + 0.02 * over + 0.12 * z[18]) * (1.12 if ap else 1.0),
        rib_density=float(np.clip(bone, 0.45, 1.3)),
        rib_slope=1.0 + 0.15 * z[19] + (-0.12 if ap else 0.0),
        clavicle_slope=(0.08 if ap else 0.22) + 0.04 * z[20],
        scapula_shift=(-1.6 if ap else 1.8) + 0.6 * z[21],
        breast_cm=breast,
        breast_depth_cm=0.42 * breast,
        stomach_cm=float(2.8 * u[0]) if u[1] < 0.75 else 0.0,
        vessels=float(np.clip(1.0 + 0.15 * z[22], 0.5, 1.5)),
        exposure=0.20 * float(np.clip(3.4 * (u[16] - 0.5) + 1.0 * (u[17] - 0.5), -2, 2)),
        contrast=0.85 + 0.35 * float(u[2]),
        noise=(0.006 + 0.008 * u[3]) * float(np.clip(1 + 0.03 * over, 0.7, 2.0)),
        scatter=float(np.clip(0.55 + 0.02 * over + (0.15 if ap else 0.0), 0.3, 1.4)),
        texture_seed=seed,
        collimation=_choose_collimation(u[4:10], ap),
        marker=(0.86 + 0.08 * u[10], 0.05 + 0.12 * u[11], 0.5 + 0.5 * u[12]) if u[13] < 0.6 else None,
        devices=_choose_devices(u[14], u[15], ap),
    )


def _choose_collimation(u: np.ndarray, ap: bool) -> tuple[float, float, float, float]:
    """Return the black borders of a film, more often on AP films. Shares assumed."""
    present = u[4] < (0.45 if ap else 0.25)
    left, right, top, bottom = (float(0.05 * share * (share > 0.5)) if present else 0.0 for share in u[:4])
    return left, right, top, bottom


def _choose_devices(first: float, second: float, ap: bool) -> tuple[str, ...]:
    """Return the devices of a film; normal films have leads and lines too, more often AP films. Shares assumed."""
    devices = []
    if first < (0.45 if ap else 0.06):
        devices.append("leads")
    if second < (0.15 if ap else 0.03):
        devices.append("line")
    return tuple(devices)
